-- The time by the clock of Redis alone.
local c = redis.call('TIME')
local raw = c[1] * 1000000 + c[2]
