-- Decides about each of KEYS by itself, by one rule, and charges those that it admits. ARGV[3] is
-- how long a log is kept (ms), ARGV[4] the largest limit; then follow limit and length (us) of each
-- window. script_read_ask() tells what is answered: one text, since that costs less than a list.
-- The parts are written out, since a function would be made anew by each call.
-- include parts/now.lua
local call, unpack, pack = redis.call, struct.unpack, struct.pack
local now, most, answers = t, ARGV[4] + 0, {}
local limits, windows = {}, {}
for i = 5, #ARGV, 2 do
  limits[#limits + 1] = ARGV[i] + 0
  windows[#windows + 1] = ARGV[i + 1] + 0
end
for k, key in ipairs(KEYS) do
  local t, refused = now, 0
  -- include parts/read.lua
  local held, beyond = #log / 8, ''
  for i, limit in ipairs(limits) do
    -- include parts/judge.lua
  end
  answers[3 * k - 2] = pack('>I8I8I8I8', refused, t, n, held)
  answers[3 * k - 1], answers[3 * k] = log, beyond
  local stamp = pack('>I8', t)
  -- include parts/write.lua
end
return table.concat(answers)
