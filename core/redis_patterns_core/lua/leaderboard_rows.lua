-- Read rows of a board, from one of them on or around a member, in one consistent view.
--
-- Around a member the window is moved, not cut, at both ends: as many rows as asked for come back wherever the board has
-- them, and the member is among them.
--
-- KEYS[1]  sorted set: the board
-- KEYS[2]  sorted set: its distinct scores, where ranks are dense
-- KEYS[3]  sorted set: its members behind 16 digits, where who came first is ahead
-- KEYS[4]  hash: the digits by member
-- KEYS[5]  hash: members' data
-- ARGV     'highest' or 'lowest'; 'ordinal', 'competition' or 'dense'; 1 where who came first is ahead; 1 to give members'
--          data too; 'from' or 'around'; how many rows to pass over, or the member; rows wanted
-- Reply    nil when the member is not on the board, else {members, how many were passed over, the first row's rank,
--          {name, score, ...}, {data or nil, ...}}; where who came first is ahead, names are behind their digits
local call = redis.call
local highest, ties, first_come = ARGV[1] == 'highest', ARGV[2], ARGV[3] == '1'
local key, name, start, wanted = first_come and KEYS[3] or KEYS[1], ARGV[6], 0, tonumber(ARGV[7])
local members = call('ZCARD', KEYS[1])

if ARGV[5] == 'around' then
  if first_come then
    local digits = call('HGET', KEYS[4], name)
    if not digits then return false end
    name = digits .. name
  end
  local place = highest and call('ZREVRANK', key, name) or not highest and call('ZRANK', key, name)
  if not place then return false end
  start = math.max(0, math.min(place - math.floor(wanted / 2), members - wanted))
else
  start = tonumber(name)
end

local last, rows = start + wanted - 1, nil
if highest then
  rows = call('ZREVRANGE', key, start, last, 'WITHSCORES')
else
  rows = call('ZRANGE', key, start, last, 'WITHSCORES')
end

local rank = start + 1
if ties ~= 'ordinal' and rows[1] then
  key = ties == 'dense' and KEYS[2] or KEYS[1]
  local better = highest and call('ZCOUNT', key, '(' .. rows[2], '+inf') or call('ZCOUNT', key, '-inf', '(' .. rows[2])
  rank = better + 1
end

local data = {}
if ARGV[4] == '1' then
  for place = 1, #rows, 2 do
    data[#data + 1] = call('HGET', KEYS[5], first_come and string.sub(rows[place], 17) or rows[place])
  end
end
return {members, start, rank, rows, data}
