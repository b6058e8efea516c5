-- A shift that cannot be one counts for nothing.
if not (math.abs(shift) < 2 ^ 53 and raw + shift > 0) then shift = 0 end
