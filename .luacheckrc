-- For the scripts that Redis runs (src/limit/lua): `make lint`.
std = "lua51"
read_globals = {"redis", "KEYS", "ARGV", "struct"}
max_line_length = 100
-- A part that several scripts include names its variables without knowing theirs.
ignore = {"42."}
