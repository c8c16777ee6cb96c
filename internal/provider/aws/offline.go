package aws

// Offline is a cloud that reaches nothing: its actions can be described and simulated, and not carried out.
func Offline() *Cloud { return &Cloud{self: Self{Partition: "aws"}} }
