-- Sets `refused` to 1 if the i-th window, with its `limit`, is full. Where more times are held than
-- `log` has, adds to `beyond` how many are within the window and the first of them, or -1 twice if
-- `log` reaches back far enough to say so.
local since, young, first = t - windows[i], -1, -1
if limit <= held then
  if unpack('>I8', log, (held - limit) * 8 + 1) > since then refused = 1 end
elseif n > held and unpack('>I8', log, 1) > since then
  local low, high = math.max(n - limit, 0), n - held
  first = unpack('>I8', log, 1)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = unpack('>I8',
      call('GETRANGE', key, middle * 8, middle * 8 + 7))
    if at > since then high, first = middle, at else low = middle + 1 end
  end
  young = n - high
  if young >= limit then refused = 1 end
end
if n > held then beyond = beyond .. pack('>i8i8', young, first) end
