-- Stands before every script: the names of a queue's keys, the store's clock, and the life of a job.
-- KEYS come from keys.py (QueueKeys.for_scripts). Times are ms of the store's own clock.

local PENDING, LEASE, WORKERS, SPEEDS, BELL, DRAIN, CLOCK, WORK = unpack(KEYS, 1, 8)
local PROMISED, ACTIVE, IDLE, OWED, ASKED = unpack(KEYS, 9, 13)
local OWNED, DUE, JOB, EVENTS, IMAGE, ENDED, PLAN = unpack(KEYS, 14)
local MAX_EVENTS, MAX_TOKENS, MAX_DEPARTURES = 256, 64, 64
local EVERYBODY = 'everybody'
local REMEMBER_S, SLOT_MS, FAR_MS, COARSE = 86400, 100, 10000, 10

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local NOW = now_ms()

local function event(id, kind, step, total, detail)
  redis.call('XADD', EVENTS .. id, 'MAXLEN', '~', MAX_EVENTS, '*',
    'kind', kind, 'step', step, 'total', total, 'detail', detail or '')
end

local function ring(count)
  for _ = 1, math.min(count, MAX_TOKENS) do redis.call('LPUSH', BELL, 1) end
  redis.call('LTRIM', BELL, 0, MAX_TOKENS - 1)
end

-- The busy clock stands still while the queue is empty: the drain rate is that of a queue with work in it.
local function is_empty()
  return redis.call('ZCARD', PENDING) == 0 and redis.call('ZCARD', LEASE) == 0
end

local function busy_ms()
  local idle, since = unpack(redis.call('HMGET', CLOCK, 'idle_ms', 'idle_since'))
  return NOW - (idle or 0) - (since and NOW - since or 0)
end

local function start_clock()
  local since = redis.call('HGET', CLOCK, 'idle_since')
  if since then
    redis.call('HINCRBY', CLOCK, 'idle_ms', NOW - since)
    redis.call('HDEL', CLOCK, 'idle_since')
  end
  if redis.call('LLEN', DRAIN) == 0 then redis.call('LPUSH', DRAIN, busy_ms()) end
end

local function stop_clock_when_empty()
  if is_empty() then
    redis.call('HSETNX', CLOCK, 'idle_since', NOW)
    redis.call('HDEL', CLOCK, 'virtual')
    redis.call('DEL', WORK, IDLE, OWED)
  end
end

-- The slot of what is due at a time; far ones are rounded down, so that there are not too many.
local function slot_at(due)
  local slot = math.floor(due / SLOT_MS)
  return due - NOW <= FAR_MS and slot or slot - slot % COARSE
end

local function add_work(sums, slot, more)
  if more ~= 0 and redis.call('HINCRBY', sums, slot, more) <= 0 then redis.call('HDEL', sums, slot) end
end

-- Sets how many forwards of the network a job still needs; WORK holds their sum by when they are due, and how many jobs
-- they are of. DUE holds the same of what was promised to one owner, where there may be others. More work with a
-- deadline is a promise more, of a new job, of one that a worker gave more steps, or of one that is drawn again: what was
-- planned on a reading from before would promise the same time twice.
local function set_left(id, left)
  local slot, before, owner = unpack(redis.call('HMGET', JOB .. id, 'slot', 'left', 'owner'))
  if not slot or not before then return end
  left, before = tonumber(left), tonumber(before)
  redis.call('HSET', JOB .. id, 'left', left)
  local promised = slot:sub(1, 1) == 'd'
  local jobs, more = (promised and 'n' or 'm') .. slot:sub(2), (left > 0 and 1 or 0) - (before > 0 and 1 or 0)
  if promised and left > before then redis.call('HINCRBY', CLOCK, 'promises', 1) end
  local all_sums = {WORK}
  if promised and owner and owner ~= EVERYBODY then all_sums[2] = DUE .. owner end
  for _, sums in ipairs(all_sums) do
    add_work(sums, slot, left - before)
    add_work(sums, jobs, more)
  end
end

-- Owners share the workers by start-time fair queueing (Goyal, Vin and Cheng, 1996). Each has a tag: the work that was
-- handed out for it, over its weight. ACTIVE holds the tags of those with jobs that wait; IDLE those of the others, as
-- long as they are ahead of the virtual time, so that nobody sheds its past by a pause, nor saves up by one. The virtual
-- time is the tag of the owner that was served last.
local function virtual_time()
  return tonumber(redis.call('HGET', CLOCK, 'virtual') or 0)
end

local function enqueue(id, owner, score, deadline, work)
  redis.call('ZADD', PENDING, score, id)
  if redis.call('ZADD', OWNED .. owner, score, id) == 0 then return end
  if deadline ~= '' then
    redis.call('ZADD', PROMISED, score, id)
  else
    redis.call('HINCRBY', OWED, owner, work)
  end
  if redis.call('ZSCORE', ACTIVE, owner) then return end
  local past = redis.call('ZSCORE', IDLE, owner)
  redis.call('ZADD', ACTIVE, math.max(virtual_time(), tonumber(past or 0)), owner)
  redis.call('ZREM', IDLE, owner)
end

local function dequeue(id, owner)
  redis.call('ZREM', PENDING, id)
  if redis.call('ZREM', OWNED .. owner, id) == 0 then return end
  if redis.call('ZREM', PROMISED, id) == 0 then
    local work = redis.call('HGET', JOB .. id, 'work') or 0
    if redis.call('HINCRBY', OWED, owner, -work) <= 0 then redis.call('HDEL', OWED, owner) end
  end
  if redis.call('EXISTS', OWNED .. owner) == 1 then return end
  redis.call('ZADD', IDLE, redis.call('ZSCORE', ACTIVE, owner), owner)
  redis.call('ZREM', ACTIVE, owner)
end

local function owner_of(id)
  return redis.call('HGET', JOB .. id, 'owner') or EVERYBODY
end

-- A version without owners may have left jobs that wait for nobody's turn.
local function adopt()
  if redis.call('EXISTS', ACTIVE) == 1 then return end
  for _, id in ipairs(redis.call('ZRANGE', PENDING, 0, -1)) do
    local score, deadline, work = unpack(redis.call('HMGET', JOB .. id, 'score', 'deadline_ms', 'work'))
    if score then
      enqueue(id, owner_of(id), score, deadline, work)
    else
      redis.call('ZREM', PENDING, id)
    end
  end
end

local function departed()
  redis.call('LPUSH', DRAIN, busy_ms())
  redis.call('LTRIM', DRAIN, 0, MAX_DEPARTURES)
end

-- A fence is larger than every one before it, also than one that the store forgot when it was killed and came back
-- without its last second: it is the time, or one more than the last fence.
local function new_fence(id)
  local fence = math.max(NOW, redis.call('HGET', JOB .. id, 'fence') + 1)
  redis.call('HSET', JOB .. id, 'fence', fence)
  return fence
end

-- Ends a job, in whatever hands it is; fields are those of its hash that change with it.
local function end_job(id, state, ttl_s, fields, detail)
  local job = JOB .. id
  dequeue(id, owner_of(id))
  redis.call('ZREM', LEASE, id)
  set_left(id, 0)
  redis.call('HSET', job, 'state', state, 'finished_ms', NOW, unpack(fields))
  redis.call('HDEL', job, 'spec', 'picture')
  local step, total = unpack(redis.call('HMGET', job, 'step', 'total'))
  event(id, state, step, total, detail)
  redis.call('EXPIRE', job, ttl_s)
  redis.call('EXPIRE', EVENTS .. id, ttl_s)
  redis.call('SET', ENDED .. id, state, 'EX', ttl_s + REMEMBER_S)
  stop_clock_when_empty()
end

-- Puts a job back where it stood in the queue, to be drawn from the start; its last holder is fenced out.
local function requeue(id, detail)
  local job = JOB .. id
  redis.call('ZREM', LEASE, id)
  new_fence(id)
  redis.call('HSET', job, 'state', 'queued', 'step', 0, 'worker', '')
  local score, total, work, deadline = unpack(redis.call('HMGET', job, 'score', 'total', 'work', 'deadline_ms'))
  set_left(id, work)
  enqueue(id, owner_of(id), score, deadline, work)
  event(id, 'requeued', 0, total, detail)
  ring(1)
end
