-- The time of the answer, t: the clock of Redis and the shift in ARGV[1]. Where ARGV[2] expects
-- another time (0: none), nothing is done: the clock was set.
local c = redis.call('TIME')
local t = c[1] * 1000000 + c[2] + ARGV[1]
if ARGV[2] ~= '0' and math.abs(t - ARGV[2]) > 1000000 then return {2, t} end
