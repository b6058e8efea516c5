-- own(i, kind) removes the i-th key if it holds something else than we put there, and sets bit i -
-- 1 of `healed`.
local healed = 0
local function own(i, kind)
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= kind and is ~= 'none' then
    redis.call('DEL', KEYS[i])
    healed = healed + 2 ^ (i - 1)
  end
end
