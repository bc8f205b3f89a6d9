// A function in Go, by AWS's own library: echoes its event, fails or panics when it is told to.
package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
}

type answer struct {
	Text     string `json:"text"`
	ID       string `json:"id"`
	ARN      string `json:"arn"`
	Deadline bool   `json:"deadline"`
}

func handle(ctx context.Context, in event) (answer, error) {
	switch in.Do {
	case "fail":
		return answer{}, errors.New(in.Text)
	case "panic":
		panic(in.Text)
	}
	known, _ := lambdacontext.FromContext(ctx)
	_, deadline := ctx.Deadline()
	return answer{in.Text, known.AwsRequestID, known.InvokedFunctionArn, deadline}, nil
}

func main() {
	lambda.Start(handle)
}
