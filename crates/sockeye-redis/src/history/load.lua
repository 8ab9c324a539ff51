-- ARGV, continued: bytes to load at most, though one message always.
if age > 0 then
    redis.call('PEXPIRE', meta, age + 86400000)
else
    redis.call('PERSIST', log)
    redis.call('PERSIST', meta)
end
local reply, room, wanted = {epoch, digits(offset)}, tonumber(ARGV[5]), offset
-- The newest messages, newest first, until one is missing or too old.
while wanted > 0 and #reply - 2 < most do
    local count = math.min(16, most - #reply + 2)
    local entries = redis.call('XREVRANGE', log, digits(wanted) .. '-0', '-', 'COUNT', count)
    if #entries == 0 then
        return reply
    end
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        if entry[1] ~= digits(wanted) .. '-0' or fields[3] ~= 'm' then
            return reply
        end
        if age > 0 and (tonumber(fields[2]) or 0) + age <= now then
            return reply
        end
        room = room - #fields[4] - 32
        if room < 0 and wanted < offset then
            return reply
        end
        reply[#reply + 1] = fields[4]
        wanted = wanted - 1
    end
end
return reply
