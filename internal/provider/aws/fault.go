package aws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Codes by which services say the same in different words.
var (
	missing = []string{ //nolint:gochecknoglobals // a constant list
		"NoSuchEntity", "NoSuchBucket", "NoSuchKey", "NotFoundException", "ResourceNotFoundException", "TrailNotFoundException",
		"InvalidInstanceID.NotFound", "InvalidGroup.NotFound", "InvalidNetworkInterfaceID.NotFound", "InvalidVolume.NotFound",
		"InvalidSnapshot.NotFound", "InvalidAssociationID.NotFound", "QueueDoesNotExist", "NotFound", "404",
		"AWS.SimpleQueueService.NonExistentQueue",
	}
	refused = []string{ //nolint:gochecknoglobals // a constant list
		"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "NotAuthorized",
		"InsufficientPermissionsException", "403", "Forbidden", "OptInRequired",
	}
	// expired credentials are renewed by whoever gave them: the next try has new ones.
	expired = []string{ //nolint:gochecknoglobals // a constant list
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "InvalidClientTokenId",
		"UnrecognizedClientException", "InvalidAccessKeyId",
	}
	busy = []string{ //nolint:gochecknoglobals // a constant list
		"IncorrectState", "ConcurrentModification", "ConcurrentModificationException", "DependencyViolation", "ConflictException",
		"OperationAborted", "EntityTemporarilyUnmodifiable", "IncorrectInstanceState", "ResourceInUse",
		"ResourceInUseException", "ResourceConflictException", "InvalidDBInstanceState", "InvalidDBInstanceStateFault", "InvalidDBClusterStateFault",
		"InvalidDBSnapshotState", "InvalidDBClusterSnapshotStateFault", "InvalidClusterState", "ContinuousBackupsUnavailableException",
	}
)

// classify gives an error of the SDK the kind by which the runner decides: what passes is tried again.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, already := errors.AsType[*fault.Error](err); already {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Transient, err)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if kind, known := kindOf(api.ErrorCode()); known {
			return fault.Wrap(kind, err)
		}
	}
	if retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err).Bool() ||
		retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() {
		return fault.Wrap(fault.Transient, err)
	}
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return fault.Wrap(byStatus(answer.HTTPStatusCode()), err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return fault.Wrap(fault.Transient, err)
	}
	return fault.Wrap(fault.Internal, err)
}

func kindOf(code string) (fault.Kind, bool) {
	switch {
	case slices.Contains(missing, code), strings.HasSuffix(code, "NotFound"), strings.HasSuffix(code, "NotFoundFault"),
		strings.HasSuffix(code, "NotFoundException"), strings.HasPrefix(code, "NoSuch"):
		return fault.NotFound, true
	case slices.Contains(refused, code):
		return fault.Denied, true
	case slices.Contains(expired, code), slices.Contains(busy, code):
		return fault.Transient, true
	case strings.HasPrefix(code, "Invalid"), strings.HasPrefix(code, "Malformed"), code == "ValidationError", code == "ValidationException":
		return fault.Invalid, true
	}
	return fault.Internal, false
}

func byStatus(status int) fault.Kind {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return fault.Transient
	case status == http.StatusNotFound:
		return fault.NotFound
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return fault.Denied
	case status >= http.StatusBadRequest:
		return fault.Invalid
	}
	return fault.Internal
}

// gone reports whether an error says that a thing is not there.
func gone(err error) bool { return fault.Is(classify(err), fault.NotFound) }

// codeOf is the code of an error of AWS's, "" if it is none.
func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// messageOf is what an error of AWS's says, "" if it is none.
func messageOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorMessage()
	}
	return ""
}
