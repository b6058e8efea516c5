-- Takes one time, ARGV[1], back from a log. Answers whether it was there.
local log, stamp = redis.call('GET', KEYS[1]) or '', ARGV[1] + 0
for i = #log - 7, 1, -8 do
  local at = struct.unpack('>I8', log, i)
  if at == stamp then
    redis.call('SET', KEYS[1], string.sub(log, 1, i - 1) .. string.sub(log, i + 8), 'KEEPTTL')
    return {0, 1}
  end
  if at < stamp then break end
end
return {0, 0}
