-- Tells all instances that a key was reset. KEYS: keys that were reset, the shift. ARGV[1] names
-- the key to the instances.
-- include parts/own.lua
own(1, 'zset')
-- include parts/raw.lua
local shift = tonumber(redis.pcall('GET', KEYS[2]) or '0') or 0
-- include parts/shift.lua
return redis.call('ZADD', KEYS[1], string.format('%.0f', raw + shift), ARGV[1])
