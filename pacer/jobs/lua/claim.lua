-- Hands out jobs: of the owner that had the least work done for its weight, the most urgent; but of all owners the most
-- urgent promise where one might be broken otherwise. Before that, jobs whose lease ran out are put back or, when their
-- attempts are used up, ended; what is past its deadline is ended instead of handed out.
-- ARGV: worker, count, lease_ms, max_attempts, result_ttl_s, within_ms ('' hands out any job; else promises alone, those
-- that must start within so many ms, whoever's turn it is)
-- Reply: {now, ids failed, ids expired, claims}, a claim being {id, spec, fence, attempt, submitted_ms, picture},
-- the picture being '' where the job starts from none.

local worker, count, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_attempts, ttl_s, within_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local MAX_SWEPT = 128
local failed, expired, claims = {}, {}, {}

local function sweep(id)
  local attempt = redis.call('HGET', JOB .. id, 'attempt')
  if not attempt then
    redis.call('ZREM', LEASE, id)
  elseif tonumber(attempt) < max_attempts then
    requeue(id, 'its worker stopped answering')
  else
    local detail = 'No worker finished it in ' .. attempt .. ' attempts.'
    new_fence(id)
    end_job(id, 'failed', ttl_s, {'error_kind', 'worker_failed', 'error_detail', detail}, detail)
    failed[#failed + 1] = id
  end
end

local function expire(id)
  local detail = 'Its deadline passed before a worker was free.'
  end_job(id, 'expired', ttl_s, {'error_kind', 'deadline_passed', 'error_detail', detail}, detail)
  expired[#expired + 1] = id
end

local speeds
local function measured()
  if not speeds then
    speeds = {}
    for place, packed in ipairs(redis.call('HVALS', SPEEDS)) do speeds[place] = cmsgpack.unpack(packed) end
  end
  return speeds
end

-- What a row of a size adds to a turn, by its pixels where this worker has not drawn it: as picture_size.py has it.
local function row_seconds(speed, pixels)
  local default = speed.pixels or 0
  if default == 0 or not pixels or pixels == default then return speed.row_seconds end
  return speed.sizes[pixels] or speed.row_seconds * pixels / default
end

-- Milliseconds of a full turn of pictures of a size, of the slowest live worker; nil before any has measured.
local function full_turn_ms(pixels)
  local most
  for _, speed in ipairs(measured()) do
    most = math.max(most or 0, 1000 * (speed.turn_seconds + speed.rows * row_seconds(speed, pixels)))
  end
  return most
end

-- Milliseconds of a forward of the default size in full turns of all live workers; nil before any has measured.
local function full_forward_ms()
  local per_ms = 0
  for _, speed in ipairs(measured()) do
    per_ms = per_ms + speed.rows / (1000 * (speed.turn_seconds + speed.rows * speed.row_seconds))
  end
  return per_ms > 0 and 1 / per_ms or nil
end

-- Milliseconds of all workers' time that nothing with a deadline needs: the demand of what is due by any time must not
-- exceed the time until then (Baruah, Rosier and Howell, 1990).
local function spare_ms(forward_ms)
  local slots, at = {}, {}
  local work = redis.call('HGETALL', WORK)
  for i = 1, #work, 2 do
    local slot = work[i]:sub(1, 1) == 'd' and tonumber(work[i]:sub(2))
    if slot and (slot + 1) * SLOT_MS > NOW then
      slots[#slots + 1] = slot
      at[slot] = tonumber(work[i + 1])
    end
  end
  table.sort(slots)
  local least, demand = math.huge, 0
  for _, slot in ipairs(slots) do
    demand = demand + at[slot] * forward_ms
    least = math.min(least, slot * SLOT_MS - NOW - demand)
  end
  return least
end

local forward_ms, spare
-- Whether a job can go before the most urgent promise, due to start at `start`, and break none: also when it takes part
-- in full turns of its size from its first step to its last.
local function leaves_promises_whole(id, start)
  forward_ms = forward_ms or full_forward_ms()
  if not forward_ms then return false end
  spare = spare or spare_ms(forward_ms)
  local total, work, pixels = unpack(redis.call('HMGET', JOB .. id, 'total', 'work', 'pixels'))
  if not total then return false end
  if math.min(spare, start - NOW) <= total * full_turn_ms(tonumber(pixels)) then return false end
  spare = spare - work * forward_ms
  return true
end

-- The job to hand out, its owner, and where it is that owner's turn, the owner's tag.
local function next_job()
  local owner, tag = unpack(redis.call('ZRANGE', ACTIVE, 0, 0, 'WITHSCORES'))
  if not owner then return nil end
  local fair, due = unpack(redis.call('ZRANGE', OWNED .. owner, 0, 0, 'WITHSCORES'))
  if redis.call('ZCARD', ACTIVE) == 1 then return fair, owner, tag end
  local urgent, start = unpack(redis.call('ZRANGE', PROMISED, 0, 0, 'WITHSCORES'))
  if not urgent or urgent == fair or tonumber(due) <= tonumber(start) then return fair, owner, tag end
  if leaves_promises_whole(fair, tonumber(start)) then return fair, owner, tag end
  return urgent, owner_of(urgent)
end

-- The most urgent promise and its owner, if it must start soon.
local function next_promise()
  local id, start = unpack(redis.call('ZRANGE', PROMISED, 0, 0, 'WITHSCORES'))
  if id and tonumber(start) <= NOW + within_ms then return id, owner_of(id) end
end

-- An owner pays for a job once, however many workers die over it.
local function charge(id, owner, tag)
  local job = JOB .. id
  if tag then redis.call('HSET', CLOCK, 'virtual', tag) end
  local cost = redis.call('HGET', job, 'cost')
  if cost then
    redis.call('ZINCRBY', ACTIVE, cost, owner)
    redis.call('HDEL', job, 'cost')
  end
end

local function hand_out(id, spec, submitted)
  local job = JOB .. id
  local fence = new_fence(id)
  local attempt = redis.call('HINCRBY', job, 'attempt', 1)
  redis.call('HSET', job, 'state', 'running', 'worker', worker, 'claimed_ms', NOW)
  redis.call('ZADD', LEASE, NOW + lease_ms, id)
  event(id, 'started', 0, redis.call('HGET', job, 'total'))
  claims[#claims + 1] = {id, spec, fence, attempt, submitted, redis.call('HGET', job, 'picture') or ''}
end

adopt()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASE, '-inf', NOW, 'LIMIT', 0, MAX_SWEPT)) do sweep(id) end

while #claims < count and #expired < MAX_SWEPT do
  local id, owner, tag = (within_ms and next_promise or next_job)()
  if not id then break end
  local spec, deadline, submitted = unpack(redis.call('HMGET', JOB .. id, 'spec', 'deadline_ms', 'submitted_ms'))
  if spec and deadline ~= '' and tonumber(deadline) <= NOW then
    expire(id)
  else
    if spec then charge(id, owner, tag) end
    dequeue(id, owner)
    if spec then hand_out(id, spec, submitted) end
  end
end
redis.call('ZREMRANGEBYSCORE', IDLE, '-inf', virtual_time())

if redis.call('ZCARD', PENDING) == 0 then redis.call('DEL', BELL) end
stop_clock_when_empty()
redis.call('ZADD', WORKERS, NOW + lease_ms, worker)
return {NOW, failed, expired, claims}
