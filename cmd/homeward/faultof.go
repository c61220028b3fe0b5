package main

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// faultOf reads DO ON [WORD=VALUE...], or the id of a fault of the file, and
// the words of flags.
func faultOf(args, words []string) (spec.Fault, error) {
	if len(args) == 1 {
		if slices.Contains(spec.FaultWords(), args[0]) {
			return spec.Fault{}, fmt.Errorf("%s what? Want [LAB] %s ON, such as shop.1.wan; homeward break lists what can be broken", args[0], args[0])
		}
		f, err := load.FaultWords("break", words, nil)
		if err == nil && len(words) > 0 && (len(words) > 1 || f.For == 0) {
			err = fmt.Errorf("%s is a fault of the file: --for alone changes it", args[0])
		}
		f.ID = args[0]
		return f, err
	}
	var worse *spec.Impairment
	if rest := args[2:]; len(rest) > 0 {
		im, _, err := load.ImpairmentWords("break", rest)
		if err != nil {
			return spec.Fault{}, err
		}
		worse = &im
	} else if args[0] == spec.Degrade {
		return spec.Fault{}, fmt.Errorf("degrade %s to what? Want words such as delay=80ms loss=5%%", args[1])
	}
	return load.FaultWords("break", append([]string{"do=" + args[0], "on=" + args[1]}, words...), worse)
}
