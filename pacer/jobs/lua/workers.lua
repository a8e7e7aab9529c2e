-- Who is alive, what they measured, what is still to be done, and what comes in; the dead are forgotten.
-- ARGV: whose request it is ('' for a worker), then what comes now with a deadline: images, of these open ones, forwards
-- of the others; nothing where none does
-- Reply: {number alive, speeds, now, work, owed: owner and forwards in turn, what comes in a second, as ARGV,
-- how many times there was more work with a deadline, what of the work was promised to that owner (to a worker: all of
-- it), or false where nobody else asked for a deadline of late}.

-- As inflow.py has them in seconds, for the simulation.
local FADES_MS, FORGOTTEN, LEAST_MS = 8000, 3, 1000
local COUNTS = {'came_images', 'came_open', 'came_forwards'}
-- As load.py has it in seconds.
local SEEN_MS = 600000
local owner, came = ARGV[1], {unpack(ARGV, 2)}

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
    local count = fades * (redis.call('HGET', CLOCK, name) or 0) + shared * (came[place] or 0)
    if came[1] then redis.call('HSET', CLOCK, name, tostring(count)) end
    rates[place] = tostring(count / seen * 1000)
  end
  if came[1] then redis.call('HSET', CLOCK, 'came_ms', NOW, 'came_since', since) end
  return rates
end

-- One string for all sums, which is read at once however many there are: as work.py has it.
local HOPED, JOBS = 2 ^ 40, {d = 'n', b = 'm'}
local function told_sums(key)
  local told, sums, rows = redis.call('HGETALL', key), {}, {}
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

-- Others are those who asked of late, whether or not they were promised anything: whoever asks now is one from now on.
local function own()
  redis.call('ZREMRANGEBYSCORE', ASKED, '-inf', NOW - SEEN_MS)
  if tonumber(came[1] or 0) > 0 then redis.call('ZADD', ASKED, NOW, owner) end
  local others = redis.call('ZCARD', ASKED)
  if owner == '' then return others > 1 and told_sums(WORK) end
  if redis.call('ZSCORE', ASKED, owner) then others = others - 1 end
  return others > 0 and told_sums(DUE .. owner)
end

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. NOW)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', SPEEDS, worker)
end
return {redis.call('ZCARD', WORKERS), redis.call('HVALS', SPEEDS), NOW, told_sums(WORK),
  redis.call('HGETALL', OWED), inflow(), tonumber(redis.call('HGET', CLOCK, 'promises') or 0), own()}
