-- Ends a running job for the worker that holds it; a worker with an old fence is too late and changes nothing.
-- ARGV: id, fence, state (completed, failed or expired), result_ttl_s, image, timings, error_kind, error_detail,
-- plan and its table's rows ('' and 0 for those of its submission)
-- Reply: 1 when the job ended this way, 0 when the worker is fenced out.

local id, fence, state, ttl_s = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local image, timings, error_kind, error_detail, plan, rows = unpack(ARGV, 5, 10)
local known, held, total = unpack(redis.call('HMGET', JOB .. id, 'state', 'fence', 'total'))

if held ~= fence then return 0 end
-- The same call again, after its reply was lost.
if known == state then return 1 end
if known ~= 'running' then return 0 end

-- It may have been planned anew so late that this comes first.
if plan ~= '' then
  total = rows
  redis.call('HSET', JOB .. id, 'plan', plan, 'total', total)
end
if state == 'completed' then
  redis.call('SET', IMAGE .. id, image, 'EX', ttl_s)
  end_job(id, state, ttl_s, {'step', total, 'timings', timings})
else
  end_job(id, state, ttl_s, {'error_kind', error_kind, 'error_detail', error_detail}, error_detail)
end
departed()
return 1
