-- Tell all that is known of some jobs: those that are named, or the last that died.
--
-- KEYS[1]  sorted set: jobs that are ready
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  sorted set: jobs that somebody works on, by when their leases end
-- KEYS[4]  sorted set: jobs that are dead, by when they died
-- KEYS[5]  sorted set: jobs that were done
-- KEYS[6]  hash: what is known of each; see jobs_enqueue
-- KEYS[7]  hash: payloads
-- KEYS[8]  hash: the last errors of jobs
-- KEYS[9]  hash: how far jobs have come
-- ARGV     how many dead ones are left out, how many at most, the ids, or none for dead ones
-- Reply    for each: {id, state or '', since or until when, record, payload, error, how far}; '' for what there is not,
--          and nothing where there is no payload
local ids = {}
for place = 3, #ARGV do ids[#ids + 1] = ARGV[place] end
if #ids == 0 then ids = redis.call('ZREVRANGE', KEYS[4], ARGV[1], ARGV[1] + ARGV[2] - 1) end
local states, reply = {'ready', 'delayed', 'leased', 'dead', 'done'}, {}
for _, id in ipairs(ids) do
  local state, score = '', '0'
  for place = 1, 5 do
    local key = KEYS[place]
    local found = redis.call('ZSCORE', key, id)
    if found and state == '' then state, score = states[place], found end
  end
  local function of(key) return redis.call('HGET', key, id) or '' end
  reply[#reply + 1] = {id, state, score, of(KEYS[6]), redis.call('HGET', KEYS[7], id), of(KEYS[8]), of(KEYS[9])}
end
return reply
