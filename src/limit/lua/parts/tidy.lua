-- Repairs `log`: what is no log counts for nothing, and no time lies in the future. Moves t behind
-- the newest time, since no log goes back.
if #log % 8 > 0 then log = '' end
if #log > 0 then
  local last = struct.unpack('>I8', log, #log - 7)
  if last > t + 1000000 then
    local clipped = {}
    for i = 1, #log, 8 do
      clipped[#clipped + 1] = struct.pack('>I8', math.min(struct.unpack('>I8', log, i), t))
    end
    log = table.concat(clipped)
  elseif last > t then t = last end
end
