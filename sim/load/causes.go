package load

// Causes are what measures of lost user-minutes are named after: "lost.ports".
func Causes() []string { return causes() }
