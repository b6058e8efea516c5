-- Adds `stamp` to the log of `key` unless it was refused, and says anew how long the log is kept:
-- the rule may have changed. Short logs are written anew, which is one command; long ones are
-- appended to, and cut to the newest `most` when they hold twice as many.
if refused == 0 and n < 32 then
  if n >= most then log = string.sub(log, (n - most + 1) * 8 + 1) end
  call('SET', key, log .. stamp, 'PX', ARGV[3])
elseif refused == 0 and n >= 2 * most then
  local kept = call('GETRANGE', key, (n - most + 1) * 8, '-1')
  call('SET', key, kept .. stamp, 'PX', ARGV[3])
else
  if refused == 0 then call('APPEND', key, stamp) end
  call('PEXPIRE', key, ARGV[3])
end
