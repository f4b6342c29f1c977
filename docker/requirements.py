"""Print what an image installs from the package index: the project's dependencies and some extras.

They are a layer of their own, which stays as it is when only our source changes.

    python docker/requirements.py parakeet,whisper < pyproject.toml
"""

import sys
import tomllib

project = tomllib.load(sys.stdin.buffer)["project"]
print(*project["dependencies"], sep="\n")
for extra in filter(None, sys.argv[1].split(",")):
    print(*project["optional-dependencies"][extra], sep="\n")
