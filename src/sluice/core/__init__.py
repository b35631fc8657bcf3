"""The core: what a task is and may become. Pure: no clock, network, media or SQL; time is an argument."""
