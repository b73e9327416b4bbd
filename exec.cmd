@rem The shell of Windows has no exec: npm scripts find this one. Elsewhere it is of the shell, and signals reach what runs.
@%*
