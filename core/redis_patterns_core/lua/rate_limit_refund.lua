-- Give back what was taken from one or several limits, where it still counts.
--
-- KEYS[i]  the state of limit i, as rate_limit.lua writes it; one that is gone stays gone, and no TTL changes
-- ARGV     for each limit four: its algorithm, the window (fixed: microseconds, counter: milliseconds; 0 for others),
--          when it was taken (microseconds), how much
-- Reply    how many of the limits got something back
local floor, max, match = math.floor, math.max, string.match
local given = 0

for i = 1, #KEYS do
  local key, a = KEYS[i], 4 * i - 3
  local algorithm = ARGV[a]
  local width, at, amount = tonumber(ARGV[a + 1]) + 0.0, tonumber(ARGV[a + 2]) + 0.0, tonumber(ARGV[a + 3]) + 0.0
  local text
  if algorithm == 'log' then
    local tail = redis.call('LINDEX', key, -1)
    local used, last = match(tail or '', '^(%d+) (%d+)$')
    local entry = amount == 1 and string.format('%.0f', at) or string.format('%.0f:%.0f', at, amount)
    -- Two of the same moment and cost are as good as each other.
    if used and redis.call('LREM', key, -1, entry) == 1 then
      if redis.call('LLEN', key) == 1 then
        redis.call('DEL', key)
      else
        redis.call('LSET', key, -1, string.format('%.0f %s', tonumber(used) - amount, last))
      end
      given = given + 1
    end
  else
    local state = redis.call('GET', key) or ''
    if algorithm == 'fixed' then
      local start, count = match(state, '^(%d+) (%d+)$')
      -- What was taken in a window that is over counts no more.
      if start and tonumber(start) == floor(at / width) * width then
        text = string.format('%s %.0f', start, max(0, tonumber(count) - amount))
      end
    elseif algorithm == 'counter' then
      local index, before, count, wide = match(state, '^(%d+) (%d+) (%d+) (%d+)$')
      if index and tonumber(wide) == width then
        local age = tonumber(index) - floor(at / (width * 1000))
        if age == 0 then
          text = string.format('%s %s %.0f %s', index, before, max(0, tonumber(count) - amount), wide)
        elseif age == 1 then
          text = string.format('%s %.0f %s %s', index, max(0, tonumber(before) - amount), count, wide)
        end
      end
    else
      -- Whether the debt drained before or drains after, less what is given back: it comes to the same.
      local debt, since, period = match(state, '^(%d+) (%d+) (%d+)$')
      if debt then
        text = string.format('%.0f %s %s', max(0, tonumber(debt) - amount * tonumber(period)), since, period)
      end
    end
    if text then
      redis.call('SET', key, text, 'KEEPTTL')
      given = given + 1
    end
  end
end
return given
