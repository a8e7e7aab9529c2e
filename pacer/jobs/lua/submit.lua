-- Takes all jobs of a request into the queue, or none.
-- ARGV: limit, owner, plan id ('' without one), what the jobs start from ('' for nothing), how many promises there were when they were planned
-- ('' where that is of no matter), then of each job: id, spec, plan, format, seed, total, work, cost, pixels, slack_ms,
-- deadline_ms ('' without one)
-- Reply: {1}, or {0, depth, departures, ms in which they departed, live workers} when the queue is full, or {2} when the plan is
-- there no more, or {3} when more was promised since they were planned.

local FIELDS = 11
local limit, owner, plan_id, picture, promises = tonumber(ARGV[1]), unpack(ARGV, 2, 5)
local count = (#ARGV - 5) / FIELDS
-- The same request again, after its reply was lost.
if redis.call('EXISTS', JOB .. ARGV[6]) == 1 then return {1} end

if plan_id ~= '' and (redis.call('GET', PLAN .. plan_id) or '') == '' then return {2} end

-- A full queue is closed to those who hold their share of its places: nobody keeps others out by filling it.
local function holds_its_share()
  local own = redis.call('ZCARD', OWNED .. owner)
  local others = redis.call('ZCARD', ACTIVE) - (own > 0 and 1 or 0)
  return own + count > limit / (others + 1)
end

local depth = redis.call('ZCARD', PENDING)
if depth + count > limit and holds_its_share() then
  local departures = math.max(0, redis.call('LLEN', DRAIN) - 1)
  local window = departures > 0 and busy_ms() - redis.call('LINDEX', DRAIN, -1) or 0
  return {0, depth, departures, window, redis.call('ZCOUNT', WORKERS, NOW, '+inf')}
end

if promises ~= '' and promises ~= (redis.call('HGET', CLOCK, 'promises') or '0') then return {3} end

if plan_id ~= '' then redis.call('SET', PLAN .. plan_id, '', 'KEEPTTL') end
start_clock()
adopt()
for first = 6, #ARGV, FIELDS do
  local id, spec, plan, format, seed, total, work, cost, pixels, slack, deadline =
    unpack(ARGV, first, first + FIELDS - 1)
  local score = NOW + slack
  -- What has no deadline is due when its slack is used up, and kept apart: it promises nothing.
  local slot = deadline ~= '' and 'd' .. slot_at(NOW + deadline) or 'b' .. slot_at(score)
  redis.call('HSET', JOB .. id, 'spec', spec, 'plan', plan, 'format', format, 'seed', seed, 'total', total,
    'state', 'queued', 'step', 0, 'attempt', 0, 'fence', 0, 'score', score, 'submitted_ms', NOW,
    'deadline_ms', deadline ~= '' and NOW + deadline or '', 'slot', slot, 'work', work, 'left', 0,
    'owner', owner, 'cost', cost, 'pixels', pixels)
  set_left(id, work)
  if picture ~= '' then redis.call('HSET', JOB .. id, 'picture', picture) end
  enqueue(id, owner, score, deadline, work)
  event(id, 'queued', 0, total)
end
ring(count)
return {1}
