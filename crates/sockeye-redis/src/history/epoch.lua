-- The beginning of both scripts: the epoch of a topic.
-- KEYS: what is known of the topic; its messages. ARGV: which start of the server this is; an epoch to begin if need be;
-- messages to keep; milliseconds to keep them, or 0.
local meta, log, run = KEYS[1], KEYS[2], ARGV[1]
local age = tonumber(ARGV[4])
local time = redis.call('TIME')

-- Whether a message is too old that was published at this time, which is seconds and microseconds.
local function ended(published)
    local seconds, micros = string.match(published or '', '^(%d+) (%d+)$')
    return age > 0 and (not seconds or (time[1] - seconds) * 1000 + (time[2] - micros) / 1000 >= age)
end

local known = redis.call('HMGET', meta, 'run', 'epoch', 'age')
local epoch = known[2]
if not epoch then
    epoch = ARGV[2]
    -- First, since it is what a server without memory refuses.
    redis.call('HSET', meta, 'run', run, 'epoch', epoch, 'age', ARGV[4], 'offset', '0')
    redis.call('DEL', log)
elseif known[1] ~= run then
    -- The server may have lost the last messages before it was started again, and their offsets are given to others.
    epoch = ARGV[2]
    redis.call('HSET', meta, 'run', run, 'epoch', epoch)
end
if known[3] and known[3] ~= ARGV[4] then
    redis.call('HSET', meta, 'age', ARGV[4])
    if age == 0 then
        redis.call('PERSIST', log)
        redis.call('PERSIST', meta)
    end
end

-- How many messages a body has. It may be from anybody.
local function many(body)
    if string.byte(body) ~= 2 or #body < 5 then
        return 1
    end
    return math.max(struct.unpack('>I4', body, 2), 1)
end
