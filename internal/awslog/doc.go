// Package awslog reads the log records and notifications of AWS as events and findings.
//
// It is pure: bytes in, values out, no I/O, no clock, no cloud SDK. Transports (a queue, a folder, an
// HTTP request) hand it what they read:
//
//	Message   what a queue or topic delivered: events, or objects in S3 that hold them
//	File      what such an object or a file on disk holds, record by record
//	Record    one record, whatever it is: of CloudTrail, an EventBridge envelope, a product's finding, an audit
//	          event of Kubernetes
//	Finding   the finding in a product's event
//
// The bytes of a record are kept exactly as they came. Whatever the transport, one happening gives one
// key, so that what is delivered twice is known to be the same.
package awslog
