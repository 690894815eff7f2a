// Command apiserver is what a server-side dry run needs in one program: run as etcd
// it is an etcd of one member, otherwise it is the API server of Kubernetes. It is a
// module of its own, so that nothing of it gets into the product's.
package main

import (
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "etcd" {
		fmt.Fprintln(os.Stderr, etcd(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}

// etcd serves at address with its data in dir until it fails or is killed.
func etcd(dir, address string) error {
	client, err := url.Parse(address)
	if err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Dir, c.LogLevel = dir, "error"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenPeerUrls = []url.URL{peer}
	c.AdvertisePeerUrls = []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.UnsafeNoFsync = true
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	return <-e.Err()
}
