-- Decides about all of KEYS together: charges all of them, or none. ARGV is as for one.lua; behind
-- it stands for each key how many times the limits hold.
-- include parts/now.lua
local call, unpack, pack = redis.call, struct.unpack, struct.pack
-- luacheck: ignore 211/now
local now, most, answers = t, ARGV[4] + 0, {}
local limits, windows = {}, {}
for i = 5, #ARGV - #KEYS, 2 do
  limits[#limits + 1] = ARGV[i] + 0
  windows[#windows + 1] = ARGV[i + 1] + 0
end
local logs, counts, refused, widest = {}, {}, 0, most
for k, key in ipairs(KEYS) do
  -- include parts/read.lua
  logs[k], counts[k] = log, n
end
for k, key in ipairs(KEYS) do
  local log, n, times = logs[k], counts[k], ARGV[#ARGV - #KEYS + k] + 0
  local held, beyond = #log / 8, ''
  for i, limit in ipairs(limits) do
    limit = limit * times
    -- include parts/judge.lua
  end
  answers[3 * k - 1] = pack('>I8I8', n, held)
  answers[3 * k], answers[3 * k + 1] = log, beyond
end
answers[1] = pack('>I8I8', refused, t)
local stamp = pack('>I8', t)
for k, key in ipairs(KEYS) do
  local log, n, most = logs[k], counts[k], widest * ARGV[#ARGV - #KEYS + k]
  -- include parts/write.lua
end
return table.concat(answers)
