"""The command line: one file a command, argv -> config -> core -> report. Only here is anything printed."""
