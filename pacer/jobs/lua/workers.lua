-- Who is alive, what they measured, what is still to be done, and what comes in; the dead are forgotten.
-- ARGV: what comes now with a deadline: images, of these open ones, forwards of the others; nothing where none does
-- Reply: {number alive, speeds, now, work, owed: owner and forwards in turn, what comes in a second, as ARGV,
-- how many jobs with a deadline were ever taken in}.

-- As inflow.py has them in seconds, for the simulation.
local FADES_MS, FORGOTTEN, LEAST_MS = 8000, 3, 1000
local COUNTS = {'came_images', 'came_open', 'came_forwards'}

-- Counts that fade: each is that of before, less what time has taken of it, and what comes now. Who finds nobody there
-- is not counted: it shares the workers with nobody. Where nothing came for long they begin anew.
local function inflow()
  local at, since = unpack(redis.call('HMGET', CLOCK, 'came_ms', 'came_since'))
  local anew = not at or NOW - at > FORGOTTEN * FADES_MS
  local fades = anew and 0 or math.exp((at - NOW) / FADES_MS)
  if anew then since = NOW end
  local seen = math.max(LEAST_MS, FADES_MS * (1 - math.exp((since - NOW) / FADES_MS)))
  local shared, rates = redis.call('EXISTS', WORK), {}
  for place, name in ipairs(COUNTS) do
    local count = fades * (redis.call('HGET', CLOCK, name) or 0) + shared * (ARGV[place] or 0)
    if ARGV[1] then redis.call('HSET', CLOCK, name, tostring(count)) end
    rates[place] = tostring(count / seen * 1000)
  end
  if ARGV[1] then redis.call('HSET', CLOCK, 'came_ms', NOW, 'came_since', since) end
  return rates
end

-- One string for all sums, which is read at once however many there are: as work.py has it.
local HOPED, JOBS = 2 ^ 40, {d = 'n', b = 'm'}
local function work()
  local told, sums, rows = redis.call('HGETALL', WORK), {}, {}
  for i = 1, #told, 2 do sums[told[i]] = told[i + 1] end
  for name, forwards in pairs(sums) do
    local kind, slot = name:sub(1, 1), name:sub(2)
    if JOBS[kind] then
      local key = tonumber(slot) + (kind == 'b' and HOPED or 0)
      rows[#rows + 1] = struct.pack('<ddd', key, tonumber(forwards), tonumber(sums[JOBS[kind] .. slot] or 1))
    end
  end
  return table.concat(rows)
end

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. NOW)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', SPEEDS, worker)
end
return {redis.call('ZCARD', WORKERS), redis.call('HVALS', SPEEDS), NOW, work(),
  redis.call('HGETALL', OWED), inflow(), tonumber(redis.call('HGET', CLOCK, 'promises') or 0)}
