-- Notes a decision about a network. KEYS: the decisions, of each "UNTIL DECIDED" (bans.h). ARGV:
-- the network, until when it is banned, and when it was decided at the earliest. Answers when it
-- was decided, and whether the network was banned before.
-- include parts/own.lua
own(1, 'hash')
local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local till, had = string.match(old, '^(%d+) (%d+)$')
local c = redis.call('TIME')
local now = c[1] * 1000 + math.floor(c[2] / 1000)
if had and #had > 15 then had = nil end
local decided = math.max(now, ARGV[3] + 0, (had or -1) + 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', decided))
return {decided, (till or 0) + 0 > now and 1 or 0}
