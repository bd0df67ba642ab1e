"""The commands' common part: running a task, users' mistakes, resolvers, sweeps, ``desra``."""
