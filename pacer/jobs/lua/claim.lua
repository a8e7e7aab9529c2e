-- Hands out jobs, the most urgent first. Before that, jobs whose lease ran out are put back or, when their attempts
-- are used up, ended; what is past its deadline is ended instead of handed out.
-- ARGV: worker, count, lease_ms, max_attempts, result_ttl_s
-- Reply: {now, ids failed, ids expired, claims}, a claim being {id, spec, fence, attempt, submitted_ms, picture},
-- the picture being '' where the job starts from none.

local worker, count, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_attempts, ttl_s = tonumber(ARGV[4]), tonumber(ARGV[5])
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

local function hand_out(id, spec, submitted)
  local job = JOB .. id
  local fence = new_fence(id)
  local attempt = redis.call('HINCRBY', job, 'attempt', 1)
  redis.call('HSET', job, 'state', 'running', 'worker', worker, 'claimed_ms', NOW)
  redis.call('ZADD', LEASE, NOW + lease_ms, id)
  event(id, 'started', 0, redis.call('HGET', job, 'total'))
  claims[#claims + 1] = {id, spec, fence, attempt, submitted, redis.call('HGET', job, 'picture') or ''}
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASE, '-inf', NOW, 'LIMIT', 0, MAX_SWEPT)) do sweep(id) end

while #claims < count and #expired < MAX_SWEPT do
  local id = redis.call('ZPOPMIN', PENDING)[1]
  if not id then break end
  local spec, deadline, submitted = unpack(redis.call('HMGET', JOB .. id, 'spec', 'deadline_ms', 'submitted_ms'))
  if spec and deadline ~= '' and tonumber(deadline) <= NOW then
    expire(id)
  elseif spec then
    hand_out(id, spec, submitted)
  end
end

if redis.call('ZCARD', PENDING) == 0 then redis.call('DEL', BELL) end
stop_clock_when_empty()
redis.call('ZADD', WORKERS, NOW + lease_ms, worker)
return {NOW, failed, expired, claims}
