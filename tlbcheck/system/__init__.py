"""The transition system: what every engine reads, and how procedures become one."""
