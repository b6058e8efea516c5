-- Adds the times of a piece to a log, each at its place. KEYS: the log, which pieces arrived.
-- ARGV[3] and ARGV[4] are as for one.lua; ARGV[5] holds the ages of the times (us, 8 bytes each,
-- oldest first); ARGV[6] is whose piece it is, and ARGV[7] its number: one that is sent again is
-- not added again. The log is read from the piece's oldest time on, so that a long one costs no
-- more than what changes.
-- include parts/now.lua
-- include parts/own.lua
own(1, 'string')
own(2, 'hash')
local call, unpack, pack = redis.call, struct.unpack, struct.pack
if call('HGET', KEYS[2], ARGV[6]) == ARGV[7] then return {0, t, healed} end
local now, most, n = t, ARGV[4] + 0, call('STRLEN', KEYS[1]) / 8
local function at(i) return unpack('>I8', call('GETRANGE', KEYS[1], i * 8, i * 8 + 7)) end
if n % 1 > 0 or n > 0 and at(n - 1) > now + 1000000 then
  local log = call('GET', KEYS[1])
  -- include parts/tidy.lua
  call('SET', KEYS[1], log, 'PX', ARGV[3])
  n = #log / 8
end
local first = now - unpack('>I8', ARGV[5], 1)
local low, high = 0, n
if n > 0 and at(n - 1) <= first then low = n end
while low < high do
  local middle = math.floor((low + high) / 2)
  if at(middle) > first then high = middle else low = middle + 1 end
end
local tail = low < n and call('GETRANGE', KEYS[1], low * 8, '-1') or ''
local parts, taken, left = {}, 0, #tail / 8
for i = 1, #ARGV[5], 8 do
  local stamp = now - unpack('>I8', ARGV[5], i)
  local from, to = taken, left
  while from < to do
    local middle = math.floor((from + to) / 2)
    if unpack('>I8', tail, middle * 8 + 1) > stamp then to = middle
    else from = middle + 1 end
  end
  if from > taken then parts[#parts + 1] = string.sub(tail, taken * 8 + 1, from * 8) end
  taken = from
  parts[#parts + 1] = pack('>I8', stamp)
end
parts[#parts + 1] = string.sub(tail, taken * 8 + 1)
tail = table.concat(parts)
if low + #tail / 8 > 2 * most then
  local log = low > 0 and call('GETRANGE', KEYS[1], 0, low * 8 - 1) or ''
  call('SET', KEYS[1], string.sub(log .. tail, -most * 8), 'PX', ARGV[3])
else
  call('SETRANGE', KEYS[1], low * 8, tail)
  call('PEXPIRE', KEYS[1], ARGV[3])
end
call('HSET', KEYS[2], ARGV[6], ARGV[7])
call('PEXPIRE', KEYS[2], ARGV[3])
return {0, t, healed}
