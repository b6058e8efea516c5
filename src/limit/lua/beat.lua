-- Says that this instance lives, and answers what it has to know of the others. KEYS: who lives,
-- keys that were reset, decisions about networks, the shift. ARGV[3] is this instance, ARGV[4] the
-- time since when it knows of resets, ARGV[5] whether it leaves, ARGV[6] whether it wants the
-- decisions.
-- include parts/now.lua
-- include parts/own.lua
own(1, 'zset')
own(2, 'zset')
own(3, 'hash')
own(4, 'string')
local function number(x) return string.format('%.0f', x) end
redis.call('SET', KEYS[4], ARGV[1])
if ARGV[5] == '1' then redis.call('ZREM', KEYS[1], ARGV[3])
else redis.call('ZADD', KEYS[1], number(t), ARGV[3]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(t - 3000000))
redis.call('ZREMRANGEBYSCORE', KEYS[1], number(t + 3000000), '+inf')
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(t - 60000000))
return {0, t, redis.call('ZCARD', KEYS[1]),
  redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[4], '+inf', 'LIMIT', 0, 1000),
  ARGV[6] == '1' and redis.call('HGETALL', KEYS[3]) or {}, healed}
