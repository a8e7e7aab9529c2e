-- Gives jobs back, of a worker that leaves or has no memory for them: where they stood in the queue, the attempt not
-- charged.
-- ARGV: of each job: id, fence
-- Reply: how many were given back; those held by somebody else, or ended, are left alone.

local released = 0
for first = 1, #ARGV, 2 do
  local id, fence = ARGV[first], ARGV[first + 1]
  local state, held = unpack(redis.call('HMGET', JOB .. id, 'state', 'fence'))
  if state == 'running' and held == fence then
    redis.call('HINCRBY', JOB .. id, 'attempt', -1)
    requeue(id, 'its worker gave it back')
    released = released + 1
  end
end
return released
