-- tables.lua N: objects, closures, strings and growing tables.
local n = tonumber(arg[1])
local seed = 1
local function draw(below)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed // 65536 % below
end

local Point = {}
Point.__index = Point
function Point.new(x, y) return setmetatable({ x = x, y = y }, Point) end
function Point:add(other) return Point.new(self.x + other.x, self.y + other.y) end

local sum, kept, names = 0, {}, {}
for i = 1, n do
  local p = Point.new(draw(1000), i):add(Point.new(1, draw(10)))
  kept[draw(5000) + 1] = { point = p, name = "point " .. i, where = function() return p.x + i end }
  local other = kept[draw(5000) + 1]
  if other then sum = sum + other.where() + #other.name end
  if i % 8 == 0 then names[#names + 1] = ("%d:%s"):format(i, p.x) end
end
sum = sum + #table.concat(names, ",")
table.sort(names)
print(sum, #names, names[1], names[#names])
