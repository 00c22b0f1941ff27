import Primitives
import TestSupport
import Testing

@Suite struct FileSystemKindTests {
    @Test(
        arguments: [
            ("ext4 /dev/sda1 rw", .local), ("xfs /dev/sdb rw", .local), ("overlay overlay rw", .local),
            ("nfs4 server:/export rw,vers=4.2", .network(name: "NFS")), ("nfs s:/e rw", .network(name: "NFS")),
            ("cifs //server/share rw", .network(name: "SMB")), ("9p share rw,trans=virtio", .network(name: "9P")),
            ("fuse.sshfs host: rw", .userSpace), ("fuseblk /dev/sdc1 rw", .userSpace), ("tmpfs tmpfs rw", .memory),
        ] as [(String, FileSystemKind)])
    func kind_IsThatOfTheDevicesMount(end: String, kind: FileSystemKind) {
        let mounts = """
            22 1 8:1 / / rw,relatime shared:1 - btrfs /dev/root rw
            36 22 0:42 /a\\040b /mnt/data rw,noatime shared:7 master:1 - \(end)
            37 22 0:420 / /mnt/other rw - proc proc rw
            38 22 0:7
            """
        #expect(FileSystemKind(device: "0:42", mounts: mounts) == kind)
        #expect(FileSystemKind(device: "8:1", mounts: mounts) == .local)
        #expect(FileSystemKind(device: "0:7", mounts: mounts) == .local)
        #expect(FileSystemKind(device: "0:4", mounts: mounts) == .local)
        #expect(FileSystemKind(device: "0:42", mounts: "") == .local)
    }

    @Test func systemFileSystem_SaysWhatItIs() throws {
        #expect(try SystemFileSystem().kind("/dev/shm") == .memory)
        #expect(throws: FileSystemError.self) { try SystemFileSystem().kind("/nowhere") }
    }
}
