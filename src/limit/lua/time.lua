-- Answers the time with the shift. KEYS: the shift.
-- include parts/raw.lua
local shift = tonumber(redis.pcall('GET', KEYS[1]) or '0') or 0
-- include parts/shift.lua
return raw + shift
