package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"time"

	"seatrial.invalid/reference/internal/serve"
)

// command is what operators run in jobs and init containers:
//
//	check URL   succeeds when the URL is answered with 200 within 10 s
//	once FILE   fails the first time, and succeeds when FILE is there
//	wait        goes on until it is told to end
//	eat         takes memory until it has none
func command(args []string) int {
	switch {
	case args[0] == "check" && len(args) == 2:
		return check(args[1])
	case args[0] == "once" && len(args) == 2:
		if _, err := os.Stat(args[1]); err == nil {
			fmt.Println("second try")
			return 0
		}
		fmt.Println("first try", os.WriteFile(args[1], nil, 0o644))
		return 1
	case args[0] == "wait":
		<-serve.Signalled().Done()
		return 0
	case args[0] == "eat":
		for taken := [][]byte{}; ; {
			taken = append(taken, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
	fmt.Fprintf(os.Stderr, "front: what is %q?\n", args)
	return 2
}

func check(url string) int {
	client := &http.Client{Timeout: 2 * time.Second}
	deadline := time.Now().Add(10 * time.Second)
	for {
		response, err := client.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				fmt.Println(url, "is fine")
				return 0
			}
			err = fmt.Errorf("status %d", response.StatusCode)
			deadline = time.Time{} // an answer is an answer
		}
		if time.Now().After(deadline) {
			fmt.Println(url, err)
			return 1
		}
		<-time.After(100 * time.Millisecond)
	}
}
