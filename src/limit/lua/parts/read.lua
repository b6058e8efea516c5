-- Reads the log of `key`: `n` is how many times it holds, `log` the newest 512 of them at most.
-- Moves t behind the newest one.
local log = call('GETRANGE', key, '-4096', '-1')
local n = #log / 8
if n >= 512 then n = call('STRLEN', key) / 8 end
if n % 1 > 0 then
  call('DEL', key)
  n, log = 0, ''
elseif n > 0 then
  local last = unpack('>I8', log, #log - 7)
  if last > t + 1000000 then
    log = call('GET', key)
    -- include parts/tidy.lua
    call('SET', key, log, 'PX', ARGV[3])
    log = string.sub(log, -4096)
  elseif last > t then t = last end
end
