-- Lets jobs go as a worker does that dies, without the wait: their leases end now, the attempts stay charged. The next
-- claim finds them.
-- ARGV: of each job: id, fence
-- Reply: how many were let go; those held by somebody else, or ended, are left alone.

local abandoned = 0
for first = 1, #ARGV, 2 do
  local id, fence = ARGV[first], ARGV[first + 1]
  local state, held = unpack(redis.call('HMGET', JOB .. id, 'state', 'fence'))
  if state == 'running' and held == fence then
    new_fence(id)
    redis.call('ZADD', LEASE, 'XX', NOW, id)
    abandoned = abandoned + 1
  end
end
ring(abandoned)
return abandoned
