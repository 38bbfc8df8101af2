// Command pause holds a pod's namespaces open: it reaps orphans as process 1 and leaves on SIGTERM or SIGINT.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var version = "unknown" // set when linking

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-v" {
		fmt.Println("pause", version)
		return
	}
	// A channel each: a burst of children must not push out the signal to leave.
	children, leave := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Notify(leave, syscall.SIGTERM, syscall.SIGINT)
	for {
		for pid, err := 1, error(nil); pid > 0 || err == syscall.EINTR; {
			pid, err = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
		select {
		case <-children:
		case <-leave:
			return
		}
	}
}
