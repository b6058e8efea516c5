-- Finds the shift that makes up for a clock that was set. KEYS: who lives, the shift. ARGV[1] is
-- the time that this instance expects, 0 if it knows none; ARGV[2] is this instance. The clock was
-- set if no other instance lives by what it says now.
-- include parts/own.lua
own(1, 'zset')
own(2, 'string')
-- include parts/raw.lua
local shift = tonumber(redis.pcall('GET', KEYS[2]) or '0') or 0
-- include parts/shift.lua
local t, expected = raw + shift, ARGV[1] + 0
if expected ~= 0 and math.abs(t - expected) > 1000000 then
  local others = 0
  for _, who in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1],
      string.format('%.0f', t - 1200000), string.format('%.0f', t + 1200000))) do
    if who ~= ARGV[2] then others = others + 1 end
  end
  if others == 0 then
    shift = expected - raw
    redis.call('SET', KEYS[2], string.format('%.0f', shift))
  end
end
return {0, raw, shift, healed}
