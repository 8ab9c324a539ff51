-- The beginning of both scripts: the epoch of a topic and its last offset.
-- KEYS: what is known of the topic; its messages. ARGV: which start of the server this is; an epoch to begin if need be;
-- messages to keep; milliseconds to keep them, or 0.
local meta, log, run = KEYS[1], KEYS[2], ARGV[1]
local most, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Offsets are doubles here, exact below 2^53.
local function digits(number)
    return string.format('%.0f', number)
end

local known = redis.call('HMGET', meta, 'run', 'epoch', 'offset')
local epoch, offset = known[2], tonumber(known[3] or '')
if not epoch or not offset then
    epoch, offset = ARGV[2], 0
    -- First, since it is what a server without memory refuses.
    redis.call('HSET', meta, 'run', run, 'epoch', epoch, 'offset', '0')
    redis.call('DEL', log)
elseif known[1] ~= run then
    -- The server may have lost the last messages before it was started again, and their offsets are given to others.
    epoch = ARGV[2]
    redis.call('HSET', meta, 'run', run, 'epoch', epoch)
end
