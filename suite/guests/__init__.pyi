from .containment import CONTAINED as CONTAINED
from .containment import Containment as Containment
from .containment import available as available
from .model import Guest as Guest
from .room import GuestDied as GuestDied
from .room import Job as Job
from .room import of_source as of_source
from .rooms import Rooms as Rooms
