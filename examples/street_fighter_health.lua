-- What the enemy loses of its health less what the player loses, in full health bars: a round won
-- without a scratch is 1.
--
-- Health is 176 at a round's start and below 0 after a knockout. Between rounds the game sets both
-- to 0, then to 176. Neither is paid: only losses count, and only while both fighters stand.

local FULL = 176

-- What a variable of the game's memory was, one frame ago; nil at an episode's start. It is kept
-- as a variable of its own, which the emulator forgets when it goes to another state.
local function before(name)
  local known, value = pcall(function() return data[name .. "_before"] end)
  data[name .. "_before"] = data[name]
  return known and value or nil
end

-- Health lost; a knockout is 1 more than the last of it.
local function lost(was, now)
  return math.max(was - math.max(now, -1), 0) / (FULL + 1)
end

function health_difference()
  local own, enemy = before("health"), before("enemy_health")
  local both_stood = own and enemy and own >= 0 and enemy >= 0
  local between_rounds = data.health == 0 and data.enemy_health == 0
  if not both_stood or between_rounds then
    return 0
  end
  return lost(enemy, data.enemy_health) - lost(own, data.health)
end
