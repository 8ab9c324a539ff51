-- ARGV, continued: bytes to load at most.
if age > 0 then
    redis.call('PEXPIRE', meta, age + 86400000)
end
local function id(offset)
    return string.format('%.0f-0', offset)
end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[5])
local last = redis.call('HGET', meta, 'offset') or '0'
local reply, wanted, count = {epoch, last}, tonumber(last), 4
-- The newest messages, newest first, until one is missing or too old.
while wanted > 0 and #reply - 2 < most do
    -- More each time, but not much more than there was room for until now.
    count = math.min(2 * count, 256)
    local entries = redis.call('XREVRANGE', log, id(wanted), '-', 'COUNT', math.min(count, most - #reply + 2))
    if #entries == 0 then
        return reply
    end
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        if entry[1] ~= id(wanted) or fields[3] ~= 'm' or ended(fields[2]) then
            return reply
        end
        room = room - #fields[4] - 32
        if room < 0 then
            return reply
        end
        reply[#reply + 1] = fields[4]
        wanted = wanted - 1
    end
end
return reply
